import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import type { Clock } from "../../system/clock.ts";
import type { ImageFacts } from "../../system/remote-image.ts";
import { announcement, type Interfaces, isLinkLocal, listensAt, reachableAddresses } from "./announcement.ts";

export interface AnnouncerParts {
  readonly clock: Clock;
  readonly facts: ImageFacts;
  announce(line: string): void;
  readonly interfaces?: () => Interfaces;
  readonly listening?: () => readonly string[];
}

/** Milliseconds between two looks at the addresses; a DHCP server takes seconds. */
const LOOK_EVERY = 1000;
/** Milliseconds after which the console is told that there is no way in from afar yet. */
const TELL_TROUBLE_AFTER = 60_000;
/** Milliseconds that a better address has to come, where there are none but link-local ones. */
const PATIENCE = 15_000;
/** Addresses that change all the time are not worth a console full of lines. */
const MOST_LINES = 8;

/** Tells the console where to come, once the server listens and there is an address, and again when that changes. */
export async function announceAddresses(parts: AnnouncerParts, signal: AbortSignal): Promise<void> {
  const { clock, facts, interfaces = networkInterfaces, listening = listeningTables } = parts;
  const since = clock.now();
  let said = "";
  let isTroubleTold = false;
  for (let lines = 0; lines < MOST_LINES && !signal.aborted; ) {
    const found = reachableAddresses(interfaces());
    const addresses = clock.now() - since < PATIENCE ? found.filter((address) => !isLinkLocal(address)) : found;
    const isListening = listensAt(facts.port, listening());
    const line = isListening && addresses.length > 0 ? announcement(facts, addresses) : said;
    if (line !== said) {
      said = line;
      lines += 1;
      parts.announce(line);
    }
    if (said === "" && !isTroubleTold && clock.now() - since >= TELL_TROUBLE_AFTER) {
      isTroubleTold = true;
      parts.announce(
        `remote: nobody can log in yet: ${isListening ? "there is no address" : "the SSH server is not up"}`,
      );
    }
    await clock.sleep(LOOK_EVERY, signal);
  }
}

function listeningTables(): readonly string[] {
  return ["/proc/net/tcp", "/proc/net/tcp6"].map((file) => {
    try {
      return readFileSync(file, "utf8");
    } catch {
      return ""; // a kernel without IPv6
    }
  });
}
