"""What lasts below one state root: content, snapshots, layers, images, remembered results."""
