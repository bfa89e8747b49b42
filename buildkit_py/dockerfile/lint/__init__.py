"""What is wrong with a Dockerfile that builds: rules, one file each. Pure."""
