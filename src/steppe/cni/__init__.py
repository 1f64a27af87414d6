"""The plugin that container runtimes execute: standard library only, one call to the agent."""
