"""Read one spectrum in the middle of the field, with nothing but Pyro4 and serpent."""

import sys

import Pyro4
import serpent

scope = Pyro4.Proxy(sys.argv[1])
(left, right), (low, high) = scope.describe()["bounds"]
scope.move_to([(left + right) / 2, (low + high) / 2])
answer = scope.measure()
array = answer["arrays"][answer["mode"]]
code = dict(f4="f", f8="d", i2="h", u2="H", i4="i", u4="I")[array["dtype"][1:]]
print(array["units"], *memoryview(serpent.tobytes(array["data"])).cast(code), sep="\n")
