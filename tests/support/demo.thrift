// The demo service: what the tests' callees and callers, the demo and the documentation speak.
// Base and BaseResp stand where Kitex and its relatives put them: in field 255.
namespace py demo
namespace c_glib Demo

struct Base {
  1: string LogID = "",
  2: string Caller = "",
  3: string Addr = "",
  4: string Client = "",
  6: optional map<string, string> Extra,
}

struct BaseResp {
  1: string StatusMessage = "",
  2: i32 StatusCode = 0,
}

struct Request {
  1: string text = "",
  2: i32 number = 0,
  3: optional binary blob,
  255: optional Base base,
}

struct Response {
  1: string server = "",
  2: string text = "",
  3: optional map<string, string> extra,
  4: optional binary blob,
  255: optional BaseResp baseResp,
}

exception Sorry {
  1: string why,
}

service Demo {
  // The text comes back with the server's name and the Extra that it saw.
  Response Visit(1: Request req),
  // The same with Base in field 255 of the arguments themselves.
  Response Direct(1: string text, 255: Base base),
  // Answers after `number` milliseconds.
  Response Sleep(1: Request req),
  // Answers with the declared exception.
  Response Fail(1: Request req) throws (1: Sorry sorry),
  // Answers with a TApplicationException.
  Response Raise(1: Request req),
  // Answers with `number` as BaseResp.StatusCode.
  Response Code(1: Request req),
  // Answers with a blob of `number` bytes.
  Response Large(1: Request req),
  void Touch(1: Request req),
  oneway void Tell(1: Request req),
}
