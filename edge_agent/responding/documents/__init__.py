"""What documents show: data gathered from the store, charts drawn, ready for a printer."""
