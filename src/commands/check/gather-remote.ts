import type { RemotePlan } from "../../config/plan.ts";
import type { Files } from "../../stacks/files.ts";
import type { Machine } from "../../stacks/machine.ts";
import { rewriteAuthorizedKeys } from "../../stacks/remote/authorized-keys.ts";
import { fingerprint, publicKeyOf } from "../../stacks/remote/host-key.ts";
import { planHostKeys } from "../../stacks/remote/host-key-files.ts";
import { ADOPTED_FOLDERS, OWN_AUTHORIZED_KEYS, ROOT_AUTHORIZED_KEYS } from "../../stacks/remote/places.ts";
import { chooseServer, readServerFacts } from "../../stacks/remote/server-choice.ts";
import type { StackName } from "../../stacks/stack.ts";
import type { Gathered, HostKeyState, RemoteFacts } from "./facts.ts";
import { gatheredNow } from "./gathered.ts";

/** The files that the next image's SSH server gets. Of the host keys only the public half is kept. */
export function gatherRemote(machine: Machine, stack: StackName, plan: RemotePlan): Gathered<RemoteFacts> {
  return gatheredNow("what the initrd's SSH server needs", () => {
    const { files } = machine;
    const { server, isAdopted } = chooseServer(plan.server, readServerFacts(files, stack));
    const steps = planHostKeys(machine, stack, plan);
    const adopted = isAdopted ? ADOPTED_FOLDERS.map((folder) => `${folder}/authorized_keys`) : [];
    const places = [OWN_AUTHORIZED_KEYS, ...adopted, ROOT_AUTHORIZED_KEYS];
    const keysFile = places.find((path) => files.facts(path));
    const text = keysFile === undefined ? undefined : files.readText(keysFile);
    const { lines, warnings } = rewriteAuthorizedKeys(text ?? "", server, keysFile !== ROOT_AUTHORIZED_KEYS);
    return {
      server: server === "openssh" ? "OpenSSH" : "dropbear",
      port: plan.port,
      hostKeys: steps.map((step) =>
        step.do === "keep" ? hostKey(files, step.file) : { file: step.file, missing: NONE },
      ),
      keysFile,
      keys: lines.length,
      warnings: warnings.map((warning) => `${keysFile}, ${warning}`),
    };
  });
}

const NONE = "there is no host key yet";

function hostKey(files: Files, file: string): HostKeyState {
  const bytes = files.readBytes(file);
  const key = bytes && publicKeyOf(bytes);
  bytes?.fill(0);
  return key ? { file, fingerprint: fingerprint(key) } : { file, missing: "it is not a host key" };
}
