"""Sprite sheets of the emoji scenes, and the script that draws them."""
