"""Stages that make a chat model write text about an image: one file per synthesizer."""
