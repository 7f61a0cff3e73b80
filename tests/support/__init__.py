"""What tests share: real programs started and ended, builders for images, a small wire."""
