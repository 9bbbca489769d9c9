import { dlopen, FFIType } from "bun:ffi";
import { SecretBytes } from "../../../../src/system/secret-bytes.ts";
import { sendDatagram } from "../../../../src/system/unix-datagram.ts";

/** Run by a test: becomes the user nobody and answers the question at the socket given. */
const NOBODY = 65534;
using answer = SecretBytes.take(new TextEncoder().encode("+from a stranger"));
const { setuid } = dlopen("libc.so.6", { setuid: { args: [FFIType.u32], returns: FFIType.i32 } }).symbols;
if (setuid(NOBODY) !== 0) process.exit(2);
sendDatagram(process.argv[2] ?? "", answer);
