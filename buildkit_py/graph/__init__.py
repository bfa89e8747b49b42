"""Which steps run, in what order, and which need not. Pure but for its seams."""
