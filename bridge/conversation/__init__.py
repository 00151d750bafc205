"""What clients and providers have in common, whatever they speak, in plain values: what is asked for, what is answered,
and who says it to whom."""
