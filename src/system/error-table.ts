import type { Outcome } from "./errors.ts";

interface ErrorEntry {
  readonly outcome: Outcome;
  /** When it happens, for docs/errors.md. */
  readonly when: string;
}

/** Every error code there is. docs/errors.md is made from this table; a code never changes its meaning. */
export const errorTable = {
  "answer/failed": {
    outcome: "failed",
    when: "`latchkey answer` had a passphrase tried that is not wrong, but the volume did not open; the message says why",
  },
  "answer/left-closed": {
    outcome: "failed",
    when: "`latchkey boot` gave up while a session of `latchkey answer` waited, and nobody else asks",
  },
  "answer/nobody-asks": {
    outcome: "unavailable",
    when: "`latchkey answer` found nothing on this machine that asks for a passphrase, within a minute",
  },
  "answer/not-root": { outcome: "refused", when: "`latchkey answer` was started by somebody else than root" },
  "answer/nothing-given": { outcome: "usage", when: "`latchkey answer` got no passphrase on its standard input" },
  "answer/wrong": { outcome: "wrong-credential", when: "the passphrase given to `latchkey answer` opened nothing" },
  "bcachefs/ambiguous": {
    outcome: "refused",
    when: "a label or UUID names two different bcachefs file systems, so neither is used",
  },
  "bcachefs/derivation-failed": {
    outcome: "failed",
    when: "scrypt did not run, most likely for lack of memory",
  },
  "bcachefs/device-missing": {
    outcome: "unavailable",
    when: "no device of a bcachefs volume appeared within the time limit",
  },
  "bcachefs/kdf-out-of-bounds": {
    outcome: "failed",
    when: "a superblock asks for a key derivation that is invalid or absurdly expensive",
  },
  "bcachefs/key-not-visible": {
    outcome: "failed",
    when: "the key is in a keyring, but a mount by this process would not find it there",
  },
  "bcachefs/members-missing": {
    outcome: "unavailable",
    when: "a bcachefs has more members than appeared within the time limit, and degraded is not allowed",
  },
  "bcachefs/mount-failed": {
    outcome: "failed",
    when: "the kernel refused to mount a bcachefs; the message has its reason",
  },
  "bcachefs/not-bcachefs": { outcome: "failed", when: "a device holds no bcachefs superblock" },
  "bcachefs/not-encrypted": {
    outcome: "failed",
    when: "a passphrase was to be checked on a bcachefs that has no encryption, or whose key lies in clear",
  },
  "bcachefs/superblock-damaged": {
    outcome: "failed",
    when: "every copy of a bcachefs superblock is damaged; the message says how",
  },
  "bcachefs/unsupported": {
    outcome: "failed",
    when: "a bcachefs superblock has a major version or key derivation that latchkey does not know",
  },
  "bcachefs/wrong-passphrase": {
    outcome: "wrong-credential",
    when: "the passphrase does not unwrap the key of a bcachefs; damage to the wrapped key looks the same",
  },
  "check/no-answer": {
    outcome: "unavailable",
    when: "something that `latchkey check` looks at did not answer in time",
  },
  "check/unreadable": { outcome: "failed", when: "a file that `latchkey check` looks at cannot be read" },
  "config/invalid-value": { outcome: "configuration", when: "a setting has a value that latchkey cannot use" },
  "config/key-in-image": {
    outcome: "configuration",
    when: "a warning: a volume has the source `keyfile`, so its key lies in the initrd for anyone who reads /boot",
  },
  "config/not-in-this-version": {
    outcome: "configuration",
    when: "the configuration names a source, kind or setting that this version of latchkey does not have",
  },
  "config/syntax": { outcome: "configuration", when: "the configuration file is not TOML" },
  "config/unknown-key": { outcome: "configuration", when: "the configuration has a key that latchkey does not know" },
  "config/unreadable": {
    outcome: "configuration",
    when: "a configuration file is missing though named, too large (1 MiB), or cannot be read",
  },
  "device/is-directory": { outcome: "failed", when: "a directory was named where a block device is wanted" },
  "device/missing": { outcome: "unavailable", when: "a device does not exist, or has no size yet" },
  "device/no-answer": {
    outcome: "failed",
    when: "a device did not answer a read within its time limit: the disk or its cable may be failing",
  },
  "device/not-a-disk": {
    outcome: "failed",
    when: "a character device, pipe or socket was named where a block device is wanted",
  },
  "device/permission-denied": { outcome: "failed", when: "this user may not read a device" },
  "device/unreadable": {
    outcome: "failed",
    when: "a device gave an I/O error: the disk or its cable may be failing, and dmesg has the kernel's words",
  },
  "enroll/cannot-write": {
    outcome: "failed",
    when: "a new token cannot be written to its place, or the one that lies there cannot be kept beside it",
  },
  "enroll/interrupted": { outcome: "failed", when: "`latchkey enroll` was told to stop before it was done" },
  "enroll/left-behind": {
    outcome: "failed",
    when: "an enrolment failed, and what it had put into a LUKS2 header could not be taken out again; the hint says how to",
  },
  "enroll/key-exists": {
    outcome: "refused",
    when: "a stick has a file already where a new key file was to go",
  },
  "enroll/not-confirmed": {
    outcome: "refused",
    when: "whoever was shown what a stick would get, or what would be shut out, did not say yes",
  },
  "enroll/not-a-stick": {
    outcome: "refused",
    when: "what was named for a key file is not a filesystem on something that can be taken away",
  },
  "enroll/one-passphrase": {
    outcome: "refused",
    when: "a recovery key was wanted for a bcachefs, which has one passphrase and no key slots",
  },
  "enroll/proof-failed": {
    outcome: "failed",
    when: "a new token or key slot did not give back what was put into it, so it was not kept",
  },
  "enroll/recovery-unproven": {
    outcome: "refused",
    when: "a new recovery key was not typed back, so it was not put to use",
  },
  "enroll/token-exists": {
    outcome: "refused",
    when: "a token lies there already, and nobody confirmed that a new one shall take its place",
  },
  "install/audit-failed": {
    outcome: "failed",
    when: "a newly built initrd lacks something or holds a damaged program; the old one stays in place",
  },
  "install/boot-loader": { outcome: "failed", when: "a boot loader did not take a new initrd over" },
  "install/build-failed": { outcome: "failed", when: "the system's tool could not build an initrd" },
  "install/cannot-write": { outcome: "failed", when: "a file of the installation cannot be written" },
  "install/foreign-file": {
    outcome: "failed",
    when: "a file that latchkey would write is there and is not latchkey's",
  },
  "install/no-image": { outcome: "unavailable", when: "the initrd of a kernel is not where it is looked for" },
  "install/no-kernel": { outcome: "unavailable", when: "the kernel to build an initrd for is not installed" },
  "install/no-room": { outcome: "failed", when: "a new initrd does not fit beside the old one" },
  "install/no-stack": { outcome: "unavailable", when: "the tool that builds the system's initrd is not installed" },
  "install/not-a-program": {
    outcome: "failed",
    when: "latchkey runs from its sources, so there is no program to put into an initrd",
  },
  "install/not-root": { outcome: "failed", when: "somebody else than root wants to change the system's initrd" },
  "install/several-stacks": {
    outcome: "usage",
    when: "several tools that build an initrd are installed, and none was named",
  },
  "install/still-in-use": {
    outcome: "refused",
    when: "latchkey is to be uninstalled, and crypttab still names it as a keyscript, or fstab or systemd a unit of it",
  },
  "internal/defect": {
    outcome: "failed",
    when: "latchkey met a case its authors did not think of; please report it with the output of `latchkey report --json`",
  },
  "key-file/bad-format": {
    outcome: "failed",
    when: "a key file is empty, or is not what its `format` says: no hexadecimal digits, or no single line of text",
  },
  "key-file/missing": { outcome: "unavailable", when: "a stick, vault or initrd does not have the key file" },
  "key-file/mount-failed": {
    outcome: "failed",
    when: "the kernel could not mount the filesystem of a stick or vault, most likely because it is damaged",
  },
  "key-file/no-answer": {
    outcome: "unavailable",
    when: "a stick did not answer within its time limit; the boot goes on without it",
  },
  "key-file/no-driver": {
    outcome: "unavailable",
    when: "the kernel has no driver for the filesystem of a stick or vault, or the initrd lacks it",
  },
  "key-file/not-regular": {
    outcome: "refused",
    when: "what is in the place of a key file is a directory, symbolic link, pipe or device",
  },
  "key-file/too-large": { outcome: "refused", when: "a key file is larger than 8 MiB; nothing of it was read" },
  "key-file/unreadable": { outcome: "failed", when: "a key file, or the device it is on, gave an error when read" },
  "keyscript/not-luks": {
    outcome: "failed",
    when: "crypttab names the keyscript of latchkey for something that is no LUKS volume: there a key cannot be verified",
  },
  "keyscript/switched-off": {
    outcome: "unavailable",
    when: "the keyscript was called although the kernel command line says rd.latchkey=0",
  },
  "keyring/refused": { outcome: "failed", when: "the kernel refused a keyring operation; the message has its errno" },
  "keyring/unsupported": {
    outcome: "failed",
    when: "latchkey does not know the keyring system calls of this processor",
  },
  "luks/ambiguous": {
    outcome: "refused",
    when: "a label or UUID names two LUKS volumes, so neither is used",
  },
  "luks/device-missing": {
    outcome: "unavailable",
    when: "the device of a LUKS volume, or its detached header, did not appear within the time limit",
  },
  "luks/full": { outcome: "failed", when: "a LUKS2 header has no free key slot or token left" },
  "luks/header-damaged": {
    outcome: "failed",
    when: "no copy of a LUKS header is whole, or what lies where a header should be is none",
  },
  "luks/mapping-missing": {
    outcome: "failed",
    when: "a mapping was made, and its node below /dev/mapper did not appear within the time limit",
  },
  "luks/name-taken": {
    outcome: "failed",
    when: "a mapping of another volume has the name that this one is to have",
  },
  "luks/no-slot": { outcome: "failed", when: "a LUKS header has no key slot in use, or not the one that is named" },
  "luks/not-luks2": {
    outcome: "failed",
    when: "a device has no LUKS2 header: latchkey enrols on LUKS2 and bcachefs only",
  },
  "luks/other-volume": {
    outcome: "refused",
    when: "the UUID in a LUKS header is not the one that the configuration or crypttab names",
  },
  "luks/out-of-memory": { outcome: "failed", when: "cryptsetup had too little memory for a key derivation" },
  "luks/tool-failed": { outcome: "failed", when: "cryptsetup failed; the message has its words" },
  "luks/tool-missing": { outcome: "unavailable", when: "cryptsetup is not installed" },
  "luks/too-much-memory": {
    outcome: "failed",
    when: "every key slot of a LUKS header wants more memory for its key derivation than the machine has",
  },
  "luks/wrong-passphrase": {
    outcome: "wrong-credential",
    when: "the passphrase opens no key slot of a LUKS header, or not the one it was tried on",
  },
  "policy/unencrypted": {
    outcome: "refused",
    when: "a volume that should be encrypted turned up without encryption, and policy.require_encrypted holds",
  },
  "policy/unprotected": {
    outcome: "refused",
    when: "a volume is encrypted, but its key lies in clear in its superblock, and policy.require_encrypted holds",
  },
  "pool/already-member": {
    outcome: "refused",
    when: "the device that `latchkey verify --adding` names is a member of the pool already",
  },
  "pool/duplicate-member": {
    outcome: "refused",
    when: "two members of a pool are one device, or a copy of each other, so the pool is not opened",
  },
  "pool/member-missing": {
    outcome: "unavailable",
    when: "a volume was not opened because a member of its pool did not appear in time, and degraded is not allowed",
  },
  "pool/member-refused": {
    outcome: "wrong-credential",
    when: "a volume was not opened because another member of its pool refused the credential",
  },
  "pool/incomplete": {
    outcome: "failed",
    when: "a volume was not opened because another member of its pool cannot be",
  },
  "prompt/askpass-failed": {
    outcome: "unavailable",
    when: "Debian's askpass could not be started, or ended without an answer",
  },
  "prompt/cancelled": { outcome: "unavailable", when: "whoever was asked for a passphrase said no, time after time" },
  "prompt/console-lost": {
    outcome: "unavailable",
    when: "the terminal went away while a passphrase was asked for on it",
  },
  "prompt/no-agents": {
    outcome: "unavailable",
    when: "a question could not be put into the folder that systemd's password agents watch",
  },
  "prompt/no-console": {
    outcome: "unavailable",
    when: "there is no terminal to ask for a passphrase on, or it would show what is typed",
  },
  "prompt/tries-used-up": {
    outcome: "wrong-credential",
    when: "as many wrong answers were given for a volume as crypttab allows (tries=)",
  },
  "report/invalid": { outcome: "failed", when: "a file given to `latchkey report` is not a report" },
  "report/missing": { outcome: "unavailable", when: "latchkey left no report at this boot" },
  "remote/no-authorized-keys": {
    outcome: "configuration",
    when: "an image with the source remote is to be made, and there is no public key that could log in to it",
  },
  "remote/no-host-key": {
    outcome: "configuration",
    when: "an image with the source remote is to be made, and its SSH server has no host key, or none could be made",
  },
  "remote/no-server": {
    outcome: "configuration",
    when: "an image with the source remote is to be made, and no SSH server is installed that could go into it",
  },
  "remote/not-in-image": {
    outcome: "unavailable",
    when: "a volume has the source remote, and the image was built without an SSH server for it",
  },
  "rollback/failed": {
    outcome: "failed",
    when: "the kernel refused a step on the way to a blank root; the message has the step and its errno",
  },
  "rollback/foreign": {
    outcome: "refused",
    when: "something that is no subvolume stands where `latchkey blank-root` looks for one, so nothing was changed",
  },
  "rollback/in-use": {
    outcome: "refused",
    when: "a root was to be replaced on a filesystem that is mounted",
  },
  "rollback/no-blank": {
    outcome: "failed",
    when: "the snapshot that new roots are made of is not there, so the root stays as it is",
  },
  "rollback/resuming": {
    outcome: "refused",
    when: "the machine may be about to resume from hibernation, so its root is left alone",
  },
  "secret/too-long": { outcome: "usage", when: "a passphrase or key file is larger than 64 KiB" },
  "secret/unreadable": { outcome: "unavailable", when: "a passphrase or key file cannot be read" },
  "source/timed-out": { outcome: "unavailable", when: "a source gave no credential within its time limit" },
  "unlock/interrupted": { outcome: "failed", when: "latchkey was told to stop before the volume was open" },
  "unlock/left-open": {
    outcome: "failed",
    when: "a later step failed, and a volume opened before could not be closed again",
  },
  "unlock/no-credential": {
    outcome: "unavailable",
    when: "every source ended without a credential that opens the volume",
  },
  "unlock/no-provider": {
    outcome: "failed",
    when: "this version of latchkey does not know the volume's kind, and leaves it to the system",
  },
  "unlock/not-encrypted": { outcome: "failed", when: "`latchkey unlock` was given a volume that needs no unlocking" },
  "unlock/no-source": { outcome: "unavailable", when: "no source is configured for the volume" },
  "system/output-failed": {
    outcome: "failed",
    when: "standard output was closed or full before everything was written",
  },
  "system/no-memory": { outcome: "failed", when: "the kernel gave no memory for a secret" },
  "system/run-directory": { outcome: "failed", when: "/run/latchkey cannot be made or written to" },
  "system/secret-too-long": {
    outcome: "refused",
    when: "a passphrase or key is larger than any latchkey accepts (8 MiB)",
  },
  "system/socket": { outcome: "unavailable", when: "the kernel refused a local socket or what was done with it" },
  "tang/bad-advertisement": {
    outcome: "failed",
    when: "the keys a Tang server advertises are malformed, not signed by all their signing keys, or lack an exchange key",
  },
  "tang/bad-answer": {
    outcome: "failed",
    when: "a Tang server answered with something that is no point on the key's curve, or far too long",
  },
  "tang/ca-unreadable": {
    outcome: "configuration",
    when: "the file with the certificate authority for https Tang servers cannot be read or holds no certificate",
  },
  "tang/http-status": {
    outcome: "unavailable",
    when: "a Tang server answered with an HTTP status other than 200; the message has it",
  },
  "tang/unknown-key": {
    outcome: "failed",
    when: "a Tang server no longer has the key that a token is bound to, or is another server (404)",
  },
  "tang/unreachable": {
    outcome: "unavailable",
    when: "a Tang server could not be reached, or did not answer in time",
  },
  "tang/untrusted": {
    outcome: "refused",
    when: "the keys a Tang server advertises are not signed by the key with the given thumbprint, or were not confirmed",
  },
  "token/empty-secret": {
    outcome: "failed",
    when: "a Clevis token opened, but what it holds is empty: no disk has an empty key",
  },
  "token/fallback-failed": {
    outcome: "failed",
    when: "the installed `clevis decrypt` failed on a token whose pin latchkey leaves to it",
  },
  "token/malformed": {
    outcome: "failed",
    when: "a Clevis token, or something inside it, is not what the standards and clevis say; the message names the part",
  },
  "token/tag-mismatch": {
    outcome: "failed",
    when: "the authentication tag of a Clevis token does not hold: the token was altered, or the key is not its own",
  },
  "token/threshold": {
    outcome: "unavailable",
    when: "too few shares of a Clevis token with pin sss could be opened; the message has the reason of each",
  },
  "token/too-large": {
    outcome: "refused",
    when: "a Clevis token is larger, nested deeper or has more pins than latchkey accepts",
  },
  "token/unknown-pin": {
    outcome: "unavailable",
    when: "a Clevis token has a pin that latchkey does not know, and clevis is not installed",
  },
  "token/unreadable": { outcome: "unavailable", when: "a token file does not exist or cannot be read" },
  "token/unsupported": { outcome: "failed", when: "a Clevis token names an algorithm that latchkey does not have" },
  "tpm2/absent": { outcome: "unavailable", when: "no TPM 2.0 turned up within the time limit" },
  "tpm2/bad-answer": { outcome: "failed", when: "the TPM, or what stands in its place, answered with nonsense" },
  "tpm2/bank-missing": {
    outcome: "unavailable",
    when: "the TPM does not keep the PCR bank that a token is sealed to, or does not keep it now",
  },
  "tpm2/busy": {
    outcome: "unavailable",
    when: "another program holds the TPM, or it asked again and again to try later",
  },
  "tpm2/failure-mode": { outcome: "unavailable", when: "the TPM failed its self-test, or wants a restart" },
  "tpm2/forged-answer": {
    outcome: "refused",
    when: "an answer of the TPM was altered between it and latchkey: its HMAC does not hold",
  },
  "tpm2/integrity": {
    outcome: "failed",
    when: "a token was sealed by another TPM or before this one was cleared, or is damaged",
  },
  "tpm2/interrupted": {
    outcome: "failed",
    when: "work with the TPM was ended before it was done: its time was up, or another source had opened the volume",
  },
  "tpm2/lockout": { outcome: "unavailable", when: "the TPM takes no passwords for a while, after too many wrong ones" },
  "tpm2/no-room": {
    outcome: "unavailable",
    when: "the TPM has no room for an object or session: leftovers of another program fill it",
  },
  "tpm2/not-started": {
    outcome: "unavailable",
    when: "nobody has sent the TPM its start-up command, as the firmware should have",
  },
  "tpm2/owner-password": {
    outcome: "refused",
    when: "the TPM's owner hierarchy has a password, and Clevis tokens need it without one",
  },
  "tpm2/pcr-mismatch": {
    outcome: "refused",
    when: "PCRs differ from what a token was sealed to; the message names them",
  },
  "tpm2/refused": { outcome: "failed", when: "the TPM refused a command; the message has its response code" },
  "tpm2/tcti-invalid": {
    outcome: "configuration",
    when: "the setting `tpm`, or TPM2TOOLS_TCTI, is not an address of a TPM that latchkey can use",
  },
  "tpm2/timed-out": { outcome: "unavailable", when: "the TPM did not answer a command within its time limit" },
  "tpm2/unreachable": {
    outcome: "unavailable",
    when: "the TPM's device or socket cannot be opened, or failed in use",
  },
  "tpm2/unsupported": {
    outcome: "failed",
    when: "the TPM does not have a command, algorithm or key size that a token needs",
  },
  "usb/absent": {
    outcome: "unavailable",
    when: "a stick was not there within its time limit; it is still waited for",
  },
  "usb/ambiguous": {
    outcome: "refused",
    when: "a stick has traces of several filesystems, so what it is cannot be told",
  },
  "usb/checksum-mismatch": {
    outcome: "refused",
    when: "the key file of a stick is not the one whose SHA-256 the configuration has",
  },
  "usb/pulled": { outcome: "unavailable", when: "a stick was pulled out while its key was being read" },
  "usb/wrong-bus": {
    outcome: "refused",
    when: "a filesystem has the UUID of a stick, but is neither removable nor on a USB bus, and `any_bus` is not set",
  },
  "stage/cannot-write": { outcome: "failed", when: "a key could not be written to the folder for keys" },
  "stage/not-in-memory": {
    outcome: "refused",
    when: "the folder for keys lies on a disk or may be swapped to one, and no ramfs can be mounted on it",
  },
  "stage/not-luks": {
    outcome: "refused",
    when: "a key was to be staged for a volume that systemd-cryptsetup does not open",
  },
  "stage/taken": {
    outcome: "refused",
    when: "a key or socket of somebody else is where a key was to be staged",
  },
  "usage/unknown-volume": { outcome: "usage", when: "a volume on the command line is neither configured nor a device" },
  "usage/invalid": { outcome: "usage", when: "the command line does not fit the command" },
  "vault/checksum-mismatch": {
    outcome: "refused",
    when: "the key file in a vault is not the one whose SHA-256 the configuration has",
  },
  "vault/not-open": {
    outcome: "unavailable",
    when: "the volume that holds the key files of others is not open, or cannot be opened",
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorTable;
