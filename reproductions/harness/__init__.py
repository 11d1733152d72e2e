"""What every paper's room shares and no paper owns: settings, data, tables, claims, figures, report."""
