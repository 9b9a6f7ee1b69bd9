"""The laboratory: what chapters 05 and later measure, predict and draw."""
