"""The spread sketch read by docs/formats.md alone: bytes → bins → quantiles."""

import functools
import math

FIRST, LAST = 0, 933
SCALE = 34.99883330222075
LOW, HIGH = 1e-4, 1e4


def varints(data):
    at = 0
    while at < len(data):
        value = shift = 0
        while True:
            byte = data[at]  # an IndexError when it ends early
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        if shift > 7 and byte == 0 or value >> 32:
            raise ValueError("a varint that is longer than it need be")
        yield value


def decode(data):
    """[(index, count)] in rising order. ValueError for what the format refuses."""
    numbers = list(varints(data))
    if len(numbers) % 2:
        raise ValueError("a pair without its count")
    bins, index = [], 0
    for position in range(0, len(numbers), 2):
        if position and numbers[position] == 0:
            raise ValueError("an index twice")
        index += numbers[position]
        if index > LAST or numbers[position + 1] == 0:
            raise ValueError("an index past the last, or a count of 0")
        bins.append((index, numbers[position + 1]))
    return bins


def scale_of(x):
    mantissa, exponent = math.frexp(x)
    s = 2 * mantissa - 1
    return ((exponent - 1) + ((6 / 35 * s - 3 / 5) * s + 10 / 7) * s) * SCALE


def edge(index):
    """The least x whose bin is `index`, by bisection."""
    low, high = LOW / 2, HIGH * 2
    for _ in range(200):
        middle = (low + high) / 2
        if scale_of(middle) < index - 467:
            low = middle
        else:
            high = middle
    return high


@functools.cache
def value_of(index):
    if index == FIRST:
        return LOW
    if index == LAST:
        return HIGH
    low, high = edge(index), edge(index + 1)
    return 2 * low * high / (low + high)


def quantile(bins, q):
    """The value of rank ⌊q(n − 1)⌋, to a relative 1 %."""
    rank = math.floor(q * (sum(count for _, count in bins) - 1))
    for index, count in bins:
        rank -= count
        if rank < 0:
            return value_of(index)
    raise ValueError("an empty sketch")
