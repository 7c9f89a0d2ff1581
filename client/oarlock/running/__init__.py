"""From manifests to trained models on this machine: order, comparison with what is there, and following it to the end."""
