# What AP nodes exchange: an envelope. The body is packed by ap/packed.h, because a cell as a native
# struct costs about 40 bytes of words and padding where 9 are enough (docs/formats-ap.md).
@0xd1c6a1c8f2b7e3a5;

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("capstan::schema");

struct ApMessage {
  epoch @0 :UInt64;
  kind @1 :UInt16;   # ap::Kind; an unknown one is refused
  body @2 :Data;
}
