"""All contact with the kernel: drivers read tables from it and apply changes to it.

Decides how an entry becomes a request to the kernel, and what the kernel's answer means. It knows
neither API objects nor desired state: it must not import the agent, the client or the compiler.
Start reading at driver.py, the protocol of all drivers.
"""
