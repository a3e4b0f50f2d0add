#!/usr/bin/env python3
"""Listens and lets go of the first three who come; then becomes the program that HESITANT names."""

import os
import socket
import sys

if "--listen" in sys.argv:
    host, port = sys.argv[sys.argv.index("--listen") + 1].split(":")
    with socket.create_server((host, int(port))) as listener:
        for _ in range(3):
            listener.accept()[0].close()
program = os.environ["HESITANT"]
os.execv(program, [program, *sys.argv[1:]])
