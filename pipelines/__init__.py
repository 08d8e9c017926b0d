"""What exists and when it runs: one folder per pipeline, the code location, jobs, schedules, sensors and the replay."""
