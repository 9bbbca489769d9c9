import { z } from "zod";
import { kernelAddressProblem } from "./kernel-address.ts";
import type { RemotePlan } from "./plan.ts";
import { type Document, readTable } from "./toml-table.ts";

/** What holds when nobody says otherwise. docs/configuration.md names it. */
export const remoteDefaults: RemotePlan = { start: "fallback", server: "auto", network: "dhcp", port: 22 };

const PORT_EXPECTED = "expected the number of a TCP port, 1 to 65535";
const remoteShape = {
  start: z.enum(["fallback", "always"], { error: 'expected "fallback" or "always"' }),
  server: z.enum(["auto", "openssh", "dropbear"], { error: 'expected "auto", "openssh" or "dropbear"' }),
  network: z
    .string({
      error: 'expected "dhcp", or a kernel parameter in quotes like "ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none"',
    })
    .refine((text) => text === "dhcp" || kernelAddressProblem(text) === undefined, {
      error: ({ input }) =>
        `${kernelAddressProblem(String(input))} like "ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none"`,
    }),
  port: z.int({ error: PORT_EXPECTED }).min(1, { error: PORT_EXPECTED }).max(65535, { error: PORT_EXPECTED }),
} as const;

/** The table `[remote]`. What is missing or wrong there takes its default. */
export function readRemote(value: unknown, document: Document): RemotePlan {
  const read = readTable(value, remoteShape, ["remote"], document);
  return {
    start: read.start ?? remoteDefaults.start,
    server: read.server ?? remoteDefaults.server,
    network: read.network ?? remoteDefaults.network,
    port: read.port ?? remoteDefaults.port,
  };
}
