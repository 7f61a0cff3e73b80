"""Whether what is stored is what was acknowledged: scrub, fsck, the reconcile pass, and the way back."""
