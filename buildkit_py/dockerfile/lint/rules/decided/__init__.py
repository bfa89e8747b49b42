"""Rules that run where a project decides something for them: a folder for each setting."""
