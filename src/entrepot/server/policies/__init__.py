"""What rules decide: selectors, the policy file, retention, immutability. Pure.

Preview, explanation and the real run ask the same functions. Nothing here reads a row or a clock.
"""
