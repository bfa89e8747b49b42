"""What a RUN does: the commands of a shell script, each word with its place. Runs nothing."""
