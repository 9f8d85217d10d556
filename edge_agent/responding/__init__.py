"""From defects that come too often to a work order: correlate > analyse > order."""
