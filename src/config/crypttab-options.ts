import { suggestion } from "./nearest.ts";

/** The programs that read crypttab: systemd-cryptsetup, and the shell scripts of Debian's cryptsetup packages. */
export type CrypttabReader = "systemd" | "debian";

/** Who makes a mapping by what its line says: latchkey may take the place of either. */
export type CrypttabServer = CrypttabReader | "latchkey";

export interface CrypttabOption {
  readonly name: string;
  /** Undefined where there is no `=`. */
  readonly value: string | undefined;
  /** Who obeys it. The other one skips it, mostly in silence; none obeys what is misspelt. */
  readonly knownTo: readonly CrypttabReader[];
}

/**
 * From crypttab(5) of both, parse_one_option() in systemd's src/cryptsetup/cryptsetup.c, its generator, and
 * crypttab_validate_option() in Debian's cryptdisks functions.
 */
const both =
  "luks plain tcrypt tcrypt-hidden tcrypthidden tcrypt-veracrypt veracrypt bitlk swap tmp discard noauto tries keyfile-size " +
  "keyfile-offset key-slot keyslot header readonly read-only verify cipher hash size sector-size offset skip same-cpu-crypt " +
  "submit-from-crypt-cpus no-read-workqueue no-write-workqueue";
const systemdOnly =
  "x-initrd.attach nofail fail auto _netdev keyfile-timeout keyfile-erase token-timeout timeout headless password-echo " +
  "password-cache try-empty-password link-volume-key x-systemd.device-timeout allow-discards tcrypt-system tcrypt-keyfile " +
  "veracrypt-pim pkcs11-uri fido2-device fido2-cid fido2-rp tpm2-device tpm2-pcrs tpm2-pin tpm2-signature tpm2-pcrlock " +
  "tpm2-measure-pcr tpm2-measure-bank";
const debianOnly = "initramfs keyscript check checkargs noearly loud quiet fvault2";

const readersOf = new Map<string, readonly CrypttabReader[]>();
for (const name of both.split(" ")) readersOf.set(name, ["systemd", "debian"]);
for (const name of systemdOnly.split(" ")) readersOf.set(name, ["systemd"]);
for (const name of debianOnly.split(" ")) readersOf.set(name, ["debian"]);

/** Obeyed also where latchkey opens the volume itself. */
const latchkeysOwn = new Set(
  (
    "luks discard allow-discards noauto auto nofail fail _netdev tries key-slot keyslot header " +
    "readonly read-only same-cpu-crypt submit-from-crypt-cpus no-read-workqueue no-write-workqueue headless keyscript " +
    "x-systemd.device-timeout"
  ).split(" "),
);
/** They say when or how loudly something is done, and nothing of what: whoever skips them does nothing else. */
const withoutConsequence = new Set("initramfs x-initrd.attach noearly loud quiet password-cache".split(" "));

/** The fourth field, as systemd cuts it. */
export function readCrypttabOptions(text: string): readonly CrypttabOption[] {
  return text
    .split(",")
    .filter((option) => option !== "")
    .map(readCrypttabOption);
}

export function readCrypttabOption(text: string): CrypttabOption {
  const equals = text.indexOf("=");
  const name = equals === -1 ? text : text.slice(0, equals);
  const value = equals === -1 ? undefined : text.slice(equals + 1);
  return { name, value, knownTo: readersOf.get(name) ?? [] };
}

/** The options that a reader will not obey: what a check has to say of an entry. */
export function optionsIgnoredBy(reader: CrypttabServer, options: readonly CrypttabOption[]): readonly string[] {
  return options.filter((option) => !isObeyedBy(reader, option)).map((option) => option.name);
}

/** As `optionsIgnoredBy`, without those that change nothing, and in clauses that say why. */
export function optionsDisobeyed(server: CrypttabServer, options: readonly CrypttabOption[]): readonly string[] {
  return options.flatMap((option) => {
    if (isObeyedBy(server, option) || withoutConsequence.has(option.name)) return [];
    if (option.knownTo.length === 0) {
      return [`there is no option ${option.name}${suggestion(option.name, [...readersOf.keys()])}: ignored`];
    }
    return [`${serverNames[server]} opens it and does not obey ${option.name}`];
  });
}

const serverNames: Readonly<Record<CrypttabServer, string>> = {
  systemd: "systemd-cryptsetup",
  debian: "Debian's cryptroot",
  latchkey: "latchkey",
};

function isObeyedBy(server: CrypttabServer, option: CrypttabOption): boolean {
  return server === "latchkey" ? latchkeysOwn.has(option.name) : option.knownTo.includes(server);
}
