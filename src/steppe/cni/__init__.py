"""The plugin that container runtimes execute: standard library only."""
