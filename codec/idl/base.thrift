/*
 * What callers and callees send along with their own fields: Base in field 255 of a request,
 * BaseResp in field 255 of a response. These are the canonical ids; published IDLs also have
 * Extra in field 1, 3 or 5 of Base, which its type tells (codec/base.h).
 */
namespace c_glib Tside
namespace py tside.base

struct TrafficEnv {
  1: bool Open = false,
  2: string Env = "",
}

struct Base {
  1: string LogID = "",
  2: string Caller = "",
  3: string Addr = "",
  4: string Client = "",
  5: optional TrafficEnv TrafficEnv,
  6: optional map<string, string> Extra,
}

struct BaseResp {
  1: string StatusMessage = "",
  2: i32 StatusCode = 0,
  3: optional map<string, string> Extra,
}
