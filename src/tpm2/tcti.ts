import { LatchkeyError } from "../system/errors.ts";

/** Where the TPM is, as a TCTI string of tpm2-tools(1) names it. */
export type TpmAddress =
  | { readonly kind: "device"; readonly path: string }
  /** The first /dev/tpmrm?, as clevis takes it. */
  | { readonly kind: "first-device" }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** A TCTI string is a line of configuration, not a document. */
const MAX_TCTI_LENGTH = 4096;
/** swtpm's own defaults (tcti-swtpm of tpm2-tss). */
const SWTPM_HOST = "127.0.0.1";
const SWTPM_PORT = 2321;
/** tpm2-tools take a driver by the name of its library, too. */
const LIBRARY = "libtss2-tcti-";
/** A path for connect(2) must fit sockaddr_un, unix(7). */
const MAX_SOCKET_PATH_BYTES = 107;

/**
 * Parses `device:PATH`, `swtpm:host=H,port=P`, `swtpm:path=P`, and what tpm2-tools take besides: `device` and `swtpm` alone,
 * a bare path, and library names such as `libtss2-tcti-device.so.0:PATH`.
 * @throws LatchkeyError tpm2/tcti-invalid
 */
export function parseTcti(text: string): TpmAddress {
  const trimmed = text.trim();
  if (trimmed === "") return { kind: "first-device" };
  if (trimmed.length > MAX_TCTI_LENGTH || trimmed.includes("\0")) throw invalid("it is not a TCTI string");
  if (trimmed.startsWith("/")) return { kind: "device", path: trimmed };

  const colon = trimmed.indexOf(":");
  const driver = colon < 0 ? trimmed : trimmed.slice(0, colon);
  const settings = colon < 0 ? "" : trimmed.slice(colon + 1);
  switch (withoutLibrary(driver)) {
    case "device":
      return settings === "" ? { kind: "first-device" } : { kind: "device", path: settings };
    case "swtpm":
      return swtpmAddress(settings);
    default:
      throw invalid(`latchkey reaches a TPM by device: or swtpm:, not by ${JSON.stringify(driver)}`);
  }
}

/** The configured TCTI, unless TPM2TOOLS_TCTI is set: that one wins, as for tpm2-tools and clevis. */
export function chooseTcti(configured: string | undefined, environment: Readonly<Record<string, string | undefined>>) {
  return parseTcti(environment["TPM2TOOLS_TCTI"] || configured || "");
}

/** For messages: `/dev/tpmrm0`, `swtpm at 127.0.0.1 port 2321`. */
export function addressName(address: TpmAddress): string {
  switch (address.kind) {
    case "device":
      return address.path;
    case "first-device":
      return "/dev/tpmrm0";
    case "tcp":
      return `swtpm at ${address.host} port ${address.port}`;
    case "unix":
      return `swtpm at ${address.path}`;
  }
}

/** `device` for `libtss2-tcti-device.so.0`. */
function withoutLibrary(driver: string): string {
  const name = driver.startsWith(LIBRARY) ? driver.slice(LIBRARY.length) : driver;
  return name.includes(".so") ? name.replace(/\.so(\.\d+)*$/, "") : name;
}

function swtpmAddress(settings: string): TpmAddress {
  const values = new Map<string, string>();
  for (const setting of settings === "" ? [] : settings.split(",")) {
    const equals = setting.indexOf("=");
    const key = setting.slice(0, Math.max(equals, 0));
    const value = setting.slice(equals + 1);
    if (!["host", "port", "path"].includes(key) || value === "" || values.has(key)) {
      throw invalid(`swtpm takes host=, port= and path=, not ${JSON.stringify(setting)}`);
    }
    values.set(key, value);
  }
  const path = values.get("path");
  if (path !== undefined) {
    if (values.size > 1) throw invalid("swtpm has either a path or a host and port");
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) throw invalid("the socket's path is too long");
    return { kind: "unix", path };
  }
  const text = values.get("port") ?? String(SWTPM_PORT);
  const port = Number(text);
  const isPort = Number.isInteger(port) && port > 0 && port <= 65535 && String(port) === text;
  if (!isPort) throw invalid(`${JSON.stringify(text)} is not a port`);
  return { kind: "tcp", host: values.get("host") ?? SWTPM_HOST, port };
}

function invalid(why: string): LatchkeyError {
  return new LatchkeyError("tpm2/tcti-invalid", `the address of the TPM cannot be used: ${why}`, {
    hint: "write device:/dev/tpmrm0, swtpm:host=127.0.0.1,port=2321 or swtpm:path=/run/swtpm.sock (TPM2TOOLS_TCTI overrides `tpm`)",
  });
}
