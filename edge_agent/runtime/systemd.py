"""Talking to systemd: the notification socket (sd_notify(3)), without a library."""

import os
import socket


class Notifier:
    """Sends READY, STATUS, WATCHDOG and STOPPING; does nothing outside systemd."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address if address is not None else os.environ.get("NOTIFY_SOCKET", "")

    def send(self, *assignments: str) -> None:
        """Send ``KEY=value`` lines; a full or absent socket is not an error, systemd's timeouts judge."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.setblocking(False)
            try:
                channel.sendto("\n".join(assignments).encode(), address)
            except OSError:
                return


def watchdog_interval_s() -> float | None:
    """How often systemd wants to hear from us (half of WatchdogSec), or None without a watchdog for this process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2e6 if microseconds.isdigit() else None
