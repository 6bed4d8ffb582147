"""The protocols that plugins implement. Their docstrings are contracts; the conformance suite tests each sentence."""
