"""Small FIT, GPX, TCX and Sensor Logger files, made in the test: the formats as their specifications say."""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

FIT_EPOCH_S = 631_065_600
T0_S = 1_000_000_000  # FIT time of the first record, 2021-09-08
T0_NS = (FIT_EPOCH_S + T0_S) * 10**9

# Base types of the FIT protocol: number, struct letter, invalid value.
ENUM, UINT8, BYTE = (0, "B"), (2, "B"), (0x0D, "B")
UINT16, UINT32, SINT32 = (0x84, "H"), (0x86, "I"), (0x85, "i")
INVALID = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFFFFFF, "i": 0x7FFFFFFF}

# Messages used here: global number, then (field number, base type, scale) by name.
MESSAGES: dict[str, tuple[int, dict[str, tuple[int, tuple[int, str], float]]]] = {
    "file_id": (0, {"type": (0, ENUM, 1), "manufacturer": (1, UINT16, 1)}),
    "record": (
        20,
        {
            "timestamp": (253, UINT32, 1),
            "position_lat": (0, SINT32, 2**31 / 180),
            "position_long": (1, SINT32, 2**31 / 180),
            "altitude": (2, UINT16, 5),
            "heart_rate": (3, UINT8, 1),
            "cadence": (4, UINT8, 1),
            "distance": (5, UINT32, 100),
            "speed": (6, UINT16, 1000),
            "power": (7, UINT16, 1),
            "fractional_cadence": (53, UINT8, 128),
        },
    ),
    "event": (21, {"timestamp": (253, UINT32, 1), "event": (0, ENUM, 1), "event_type": (1, ENUM, 1)}),
    "lap": (19, {"timestamp": (253, UINT32, 1), "start_time": (2, UINT32, 1)}),
    "session": (
        18,
        {
            "timestamp": (253, UINT32, 1),
            "start_time": (2, UINT32, 1),
            "sport": (5, ENUM, 1),
            "sub_sport": (6, ENUM, 1),
            "total_elapsed_time": (7, UINT32, 1000),
            "total_timer_time": (8, UINT32, 1000),
            "total_distance": (9, UINT32, 100),
            "avg_heart_rate": (16, UINT8, 1),
        },
    ),
    "hr": (
        132,
        {
            "timestamp": (253, UINT32, 1),
            "fractional_timestamp": (0, UINT16, 32768),
            "filtered_bpm": (6, UINT8, 1),
            "event_timestamp": (9, UINT32, 1024),
            "event_timestamp_12": (10, BYTE, 1),
        },
    ),
    "hrv": (78, {"time": (0, UINT16, 1000)}),
}
OFFSETS = {"altitude": 500}
GENERIC, RUNNING, CYCLING, TRANSITION, SWIMMING = 0, 1, 2, 3, 5
START, STOP_ALL = 0, 4


def fit_crc(data: bytes) -> int:
    """Return the FIT checksum, bit by bit as the SDK's text describes it."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


class FitFile:
    """Writes FIT messages one after the other; ``add`` takes values in the units that readers see."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.body = b""
        self.add("file_id", type=4, manufacturer=1)

    def add(self, name: str, **values: Any) -> "FitFile":
        """Add a message with the fields given; None is written as the field's invalid value."""
        number, fields = MESSAGES[name]
        definition, data = b"", b""
        for key, value in values.items():
            field, (base, letter), scale = fields[key]
            cells = value if isinstance(value, list) else [value]
            offset = OFFSETS.get(key, 0)
            raw = [INVALID[letter] if cell is None else round((cell + offset) * scale) for cell in cells]
            packed = struct.pack(f"{self.order}{len(raw)}{letter}", *raw)
            definition += bytes((field, len(packed), base))
            data += packed
        big = int(self.order == ">")
        head = struct.pack(f"{self.order}BBBHB", 0x40, 0, big, number, len(values))
        self.body += head + definition + b"\x00" + data
        return self

    def record(self, second: int, **values: Any) -> "FitFile":
        """Add a record ``second`` s after T0."""
        return self.add("record", timestamp=T0_S + second, **values)

    def timer(self, second: int, event_type: int) -> "FitFile":
        """Add a start or stop of the timer."""
        return self.add("event", timestamp=T0_S + second, event=0, event_type=event_type)

    def session(self, begin: int, end: int, sport: int, **values: Any) -> "FitFile":
        """Add a session."""
        return self.add("session", timestamp=T0_S + end, start_time=T0_S + begin, sport=sport, **values)

    def developed_record(self, second: int, native: int, value: int) -> "FitFile":
        """Add a record with one developer field (uint16) that stands for the native field given."""
        number = MESSAGES["record"][0]
        self.body += b"\x40\x00\x00" + struct.pack("<HB", 207, 1) + bytes((3, 1, 2)) + b"\x00\x00"
        describe = ((0, 1, 2, 0), (1, 1, 2, 0), (2, 1, 2, 0x84), (15, 1, 2, native))
        self.body += b"\x40\x00\x00" + struct.pack("<HB", 206, len(describe))
        self.body += b"".join(bytes(field[:3]) for field in describe)
        self.body += b"\x00" + bytes(field[3] for field in describe)
        self.body += b"\x60\x00\x00" + struct.pack("<HB", number, 1) + bytes((253, 4, 0x86, 1, 0, 2, 0))
        self.body += b"\x00" + struct.pack("<IH", T0_S + second, value)
        return self

    def to_bytes(self, body_size: int | None = None) -> bytes:
        """Return the file; ``body_size`` is what its header claims, by default the truth."""
        size = len(self.body) if body_size is None else body_size
        head = struct.pack("<2BHI4s", 14, 0x20, 2132, size, b".FIT")
        data = head + struct.pack("<H", fit_crc(head)) + self.body
        return data + struct.pack("<H", fit_crc(data))


def fit_run(seconds: int = 60, order: str = "<", **extra: Any) -> FitFile:
    """Return a run of a record a second, northwards at about 3 m/s."""
    file = FitFile(order).timer(0, START)
    for second in range(seconds):
        file.record(
            second,
            position_lat=47.0 + second * 2.7e-5,
            position_long=11.0,
            altitude=500.0 + second,
            speed=3.0,
            heart_rate=140,
            cadence=85,
            distance=3.0 * second,
            **extra,
        )
    file.timer(seconds - 1, STOP_ALL)
    return file.session(
        0, seconds, RUNNING, total_distance=3.0 * seconds, total_timer_time=seconds, avg_heart_rate=140
    )


def gpx(
    segments: Sequence[Iterable[int]], *, extension: str = "", kind: str = "running", time: bool = True
) -> bytes:
    """Return a GPX file with a point at each second of each segment."""
    text = "".join(
        "<trkseg>"
        + "".join(
            f'<trkpt lat="{47 + s * 2.7e-5:.7f}" lon="11.0"><ele>{500 + s}</ele>'
            + (f"<time>2021-09-08T01:{s // 60:02}:{s % 60:02}.250Z</time>" if time else "")
            + f"<extensions>{extension}</extensions></trkpt>"
            for s in seconds
        )
        + "</trkseg>"
        for seconds in segments
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<gpx creator="A watch" version="1.1" xmlns="http://www.topografix.com/GPX/1/1" '
        'xmlns:gpxtpx="http://www.garmin.com/xmlschemas/TrackPointExtension/v1">'
        f"<trk><type>{kind}</type>{text}</trk></gpx>"
    ).encode()


def tcx_lap(start: int, timer_s: float, tracks: Sequence[Iterable[int]], point: str = "") -> str:
    """Return a lap with a point at each second of each track."""

    def stamp(second: int) -> str:
        return f"2021-09-08T01:{second // 60:02}:{second % 60:02}.000Z"

    body = "".join(
        "<Track>"
        + "".join(
            f"<Trackpoint><Time>{stamp(s)}</Time><Position>"
            f"<LatitudeDegrees>{47 + s * 2.7e-5:.7f}</LatitudeDegrees>"
            f"<LongitudeDegrees>11.0</LongitudeDegrees></Position>"
            f"<AltitudeMeters>{500 + s}</AltitudeMeters>"
            f"{point}</Trackpoint>"
            for s in seconds
        )
        + "</Track>"
        for seconds in tracks
    )
    return (
        f'<Lap StartTime="{stamp(start)}"><TotalTimeSeconds>{timer_s}</TotalTimeSeconds>'
        f"<DistanceMeters>{3 * timer_s}</DistanceMeters>"
        f"<AverageHeartRateBpm><Value>150</Value></AverageHeartRateBpm>{body}</Lap>"
    )


def tcx(laps: Sequence[str], sport: str = "Running") -> bytes:
    """Return a TCX file with these laps."""
    return (
        '\n  <?xml version="1.0" encoding="UTF-8"?><TrainingCenterDatabase '
        'xmlns="http://www.garmin.com/xmlschemas/TrainingCenterDatabase/v2" '
        'xmlns:ns3="http://www.garmin.com/xmlschemas/ActivityExtension/v2">'
        f'<Activities><Activity Sport="{sport}">{"".join(laps)}'
        "<Creator><Name>A watch</Name></Creator></Activity></Activities></TrainingCenterDatabase>"
    ).encode()


START_MS = 1_700_000_000_000
START_NS = START_MS * 10**6


def phone_export(seconds: float = 1.0) -> dict[str, bytes]:
    """Return the files of a Sensor Logger export: 100 Hz motion, two fixes of which one is 108 s old."""
    motion = "time,seconds_elapsed,z,y,x\n" + "".join(
        f"{START_NS + i * 10_000_000 + 1},{i / 100},9.81,0.5,{i / 8}\n" for i in range(round(seconds * 100))
    )
    return {
        "Accelerometer.csv": motion.encode(),
        "Gyroscope.csv": motion.encode(),
        "Location.csv": (
            "time,seconds_elapsed,latitude,longitude,speed\n"
            f"{START_NS - 108 * 10**9},-108,47.0,11.0,-1\n"
            f"{START_NS + 500_000_000},0.5,47.0001,11.0,\n"
        ).encode(),
        "Annotation.csv": (
            f"time,seconds_elapsed,text,millisecond_press_duration\n{START_NS + 10**8},0.1,go!,80\n"
        ).encode(),
        "Metadata.csv": (
            "version,device name,recording epoch time,platform,device id\n"
            f"3,Phone 9,{START_MS},android,abc def-01\n"
        ).encode(),
        "Notes.csv": b"this,is,not\nof,the,app\n",
    }
