"""Independent pieces of work over many machines, by Ray or in this process; paths travel, never arrays.

Start with `cluster.py`, what a command calls; `ray_session.py` starts or joins Ray, `ray_tasks.py` hands out the work.
"""
