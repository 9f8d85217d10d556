"""The operator's pages. They read through ports and change nothing."""
