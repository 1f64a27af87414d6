"""What people write for the ends of a flow, and whom they mean by it."""
