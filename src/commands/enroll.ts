import { type Command, Option } from "commander";
import { suggestion } from "../config/nearest.ts";
import { type SssWords, sssWish, type TangWords, type Tpm2Words, tangWish, tpm2Wish } from "../enroll/wish.ts";
import { LatchkeyError } from "../system/errors.ts";
import {
  addEnrolOptions,
  addTokenOptions,
  authorityOption,
  type EnrolOptions,
  enroll,
  tpmOption,
} from "./enroll-run.ts";
import { registerEnrollUsb } from "./enroll-usb.ts";
import { acts } from "./run.ts";

/** One way to enrol: a subcommand. A method that joins adds its own. */
type RegisterMethod = (parent: Command) => void;

const tpm2: RegisterMethod = (parent) => {
  const command = parent
    .command("tpm2")
    .summary("this machine's TPM opens the volume by itself")
    .description(
      "Seals to this machine's TPM, and to what its PCRs hold: another machine, or other firmware and keys, cannot open it.",
    );
  addTpmOptions(addTokenOptions(addEnrolOptions(command))).addHelpText(
    "after",
    "\nExamples:\n  sudo latchkey enroll tpm2 root\n  sudo latchkey enroll tpm2 root --pcrs 7,15",
  );
  acts(command, (volume: string, options: EnrolOptions & Tpm2Words) => enroll(volume, tpm2Wish(options), options));
};

const tang: RegisterMethod = (parent) => {
  const command = parent
    .command("tang")
    .summary("a Tang server in the network opens the volume")
    .description(
      "Binds to a Tang server: the volume opens where the server can be reached. Asks whether its keys are the right ones.",
    );
  addTokenOptions(addEnrolOptions(command))
    .requiredOption("--url <url>", "the server; an address needs no name server in the initrd")
    .option(
      "--thumbprint <thumbprint>",
      "of one of its signing keys, as tang-show-keys prints it there: nothing is asked",
    )
    .option("--advertisement <file>", "its keys, brought here by a way you trust: nothing is asked")
    .option(...authorityOption)
    .addHelpText(
      "after",
      "\nExample:\n  sudo latchkey enroll tang root --url http://192.168.1.5 --thumbprint KBM9Pg3FtFCRjLqBFfP2ngCkh_SlwLRVRQp8n3XhiYA",
    );
  acts(command, (volume: string, options: EnrolOptions & TangWords) => enroll(volume, tangWish(options), options));
};

const sss: RegisterMethod = (parent) => {
  const command = parent
    .command("sss")
    .summary("several of these together open the volume: TPM, Tang servers")
    .description("Splits the secret (Shamir): as many shares as the threshold says open the volume, in any choice.");
  addTpmOptions(addTokenOptions(addEnrolOptions(command)))
    .requiredOption("--threshold <number>", "how many shares it takes")
    .option("--tpm2", "a share for this machine's TPM")
    .option(
      "--tang <url>",
      "a share for this Tang server (repeat for more); URL#THUMBPRINT says which keys are right",
      (url: string, before: readonly string[]) => [...before, url],
      [] as readonly string[],
    )
    .option(...authorityOption)
    .addHelpText(
      "after",
      "\nExample:\n  sudo latchkey enroll sss root --threshold 2 --tpm2 --tang http://192.168.1.5 --tang http://192.168.1.6",
    );
  acts(command, (volume: string, { threshold, tpm2, tang, ...options }: EnrolOptions & SssWords) => {
    const { pcrs, pcrBank, key, policyFromDigest } = options;
    return enroll(volume, sssWish({ threshold, tpm2, tang, pcrs, pcrBank, key, policyFromDigest }), options);
  });
};

const recovery: RegisterMethod = (parent) => {
  const command = parent
    .command("recovery")
    .summary("a recovery key to write down, for the day nothing else works")
    .description(
      "LUKS2 only. Makes a key of 256 bits in systemd's format, shows it once on the terminal with a QR code, has it typed back, and adds it as a key slot. It is stored nowhere.",
    );
  addEnrolOptions(command).addHelpText("after", "\nExample:\n  sudo latchkey enroll recovery /dev/nvme0n1p2");
  acts(command, (volume: string, options: EnrolOptions) => enroll(volume, { method: "recovery" }, options));
};

const methods: readonly RegisterMethod[] = [recovery, tpm2, tang, sss, registerEnrollUsb];

export function registerEnroll(program: Command): void {
  const command = program
    .command("enroll")
    .summary("add a way to open a volume: TPM, Tang, several of them, a stick, a recovery key")
    .description(
      "Adds a way to open a volume, and removes none (but `usb --revoke`). Asks for the passphrase, proves it, makes the token or key, opens it again, proves on the volume what came out of it, and only then keeps it. In this order: recovery, then tpm2 or another; the installation password goes last, by hand.",
    )
    .addHelpText("after", "\nExample:\n  sudo latchkey enroll tpm2 root\n\nEach method has its own --help.");
  for (const register of methods) register(command);
  const names = command.commands.map((each) => each.name());
  acts(command.allowExcessArguments(), (_options: unknown, { args }: Command) => {
    const [word = ""] = args;
    const what = word === "" ? "enroll needs a method" : `there is no method ${word}${suggestion(word, names)}`;
    throw new LatchkeyError("usage/invalid", what, {
      hint: `the methods are ${names.join(", ")}: latchkey enroll METHOD VOLUME`,
    });
  });
}

function addTpmOptions(command: Command): Command {
  return command
    .option("--pcrs <list>", "the PCRs to seal to, or none (default: 7)")
    .option("--pcr-bank <name>", "the bank of the PCRs (default: sha256, where the TPM keeps it)")
    .option(
      "--policy-from-digest <hex>",
      "seal to this policy digest, made from the values that are expected, instead of today's",
    )
    .addOption(new Option("--key <type>", "the TPM's key above the token (default: ecc)").choices(["ecc", "rsa"]))
    .option(...tpmOption);
}
