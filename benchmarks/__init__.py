"""What the system promises about speed, measured: one module a benchmark, called by `python -m benchmarks`.

Here belong measurements that print one JSON line each. Not here: tests; nothing here fails a build, and a number is
worth as much as the machine was quiet.
"""
