"""A PLC: a pymodbus server for the memory, and a scan loop that does the PLC's side of docs/plc.md.

Usage: plc.py PORT PARTS TIMEOUT_MS. Asks for PARTS parts, one after the other, and prints one JSON line for each:
sequence, part, result (accept, reject, hold, or no-answer after TIMEOUT_MS). It then serves until it is killed.
"""

import json
import sys
import threading
import time

from pymodbus.client import ModbusTcpClient
from pymodbus.server import StartTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

TRIGGER, READY, BUSY, FAULT, HEARTBEAT, VALID = 0, 16, 17, 18, 19, 20
SEQUENCE, PART_ID, PRODUCT, OWN_BEAT, RESULT, RESULT_SEQUENCE, RESULT_PART = 0, 1, 9, 10, 32, 33, 34
NAMES = {1: "accept", 2: "reject", 3: "hold"}


def words(text: str, count: int = 8) -> list[int]:
    """Two characters to a register, the first one in the high byte."""
    raw = text.encode().ljust(2 * count, b"\0")
    return [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 2 * count, 2)]


def serve(port: int) -> None:
    """The memory: 64 coils and 64 registers, unit 1."""
    bits = [SimData(0, count=64, values=False, datatype=DataType.BITS)]
    registers = [SimData(0, count=64, values=0, datatype=DataType.REGISTERS)]
    device = SimDevice(1, simdata=(bits, bits, registers, registers))
    StartTcpServer(device, address=("127.0.0.1", port))


def main(port: int, parts: int, timeout_ms: int) -> None:
    """Serve, ask, report."""
    threading.Thread(target=serve, args=(port,), daemon=True).start()
    plc = ModbusTcpClient("127.0.0.1", port=port, timeout=2)
    while not plc.connect():
        time.sleep(0.02)
    print("ready", flush=True)
    for number in range(1, parts + 1):
        print(json.dumps(ask(plc, number, f"PCB-{number:05d}", timeout_ms / 1e3)), flush=True)
    beat = 0
    while True:
        beat = (beat + 1) & 0xFFFF
        plc.write_register(OWN_BEAT, beat)
        time.sleep(0.1)


def ask(plc: ModbusTcpClient, number: int, part: str, timeout_s: float) -> dict[str, object]:
    """One part: request, answer, acknowledgement."""
    deadline = time.monotonic() + timeout_s
    outcome: dict[str, object] = {"sequence": number, "part": part, "result": "no-answer"}
    while not coil(plc, READY) or coil(plc, BUSY):
        if time.monotonic() > deadline:
            return outcome
        time.sleep(0.005)
    plc.write_registers(SEQUENCE, [number, *words(part), 1])
    plc.write_coil(TRIGGER, True)
    while time.monotonic() <= deadline:
        answer = plc.read_holding_registers(RESULT, count=10).registers
        if coil(plc, VALID) and answer[1] == number and answer[2:10] == words(part):
            outcome["result"] = NAMES.get(answer[0], "reject")
            break
        time.sleep(0.005)
    plc.write_coil(TRIGGER, False)
    while coil(plc, BUSY) and time.monotonic() <= deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    return outcome


def coil(plc: ModbusTcpClient, address: int) -> bool:
    """The state of one coil."""
    return bool(plc.read_coils(address).bits[0])


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
