"""What the command line and the workflow call: run, draw, judge, report, check, and their upkeep."""
