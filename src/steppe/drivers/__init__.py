"""All contact with the kernel: drivers read tables back from it and apply changes to it.

Decides how an entry becomes a request to the kernel, and what the kernel's answer means. Knows no
cluster, no cause and no desired state: nothing here imports the agent, the client or the compiler.
Start reading at driver.py, the protocol of all drivers.
"""
