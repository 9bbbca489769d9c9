import { join } from "node:path";
import { repository } from "../vm/cache.ts";
import { type Guest, guest } from "../vm/guest/chroot.ts";
import { type BcachefsImage, bcachefsImage, PASSPHRASE } from "../vm/images.ts";
import { type RunDirectory, runDirectory } from "../vm/run-directory.ts";
import { type Contents, linkOrCopy } from "./contest.ts";

/** What all benchmarks measure with: one binary, one guest, one encrypted filesystem. */
export interface Subject extends Disposable {
  readonly guest: Guest;
  /** A copy of dist/latchkey or of what LATCHKEY_BINARY names, so that a build meanwhile does not change what is measured. */
  readonly binary: string;
  readonly image: BcachefsImage;
  /** For files of the run. */
  readonly scratch: string;
  /** How many pairs a part measures that usually takes this many. */
  pairs(usual: number): number;
}

/** An own UUID: the key is named after it, and tests that run beside have their keys in the same keyring. */
const UUID = "6c617463-6865-4b65-8000-0000000be9c4";

/** @param pairs so many in each part, whatever is usual */
export async function makeSubject(pairs?: number): Promise<Subject> {
  using scope = new DisposableStack();
  const directory: RunDirectory = scope.use(runDirectory());
  const binary = join(directory.files, "latchkey");
  await linkOrCopy(process.env["LATCHKEY_BINARY"] ?? join(repository, "dist/latchkey"), binary);
  const debian = await guest("dracut");
  const image = await bcachefsImage(debian, { passphrase: PASSPHRASE, uuid: UUID });
  const kept = scope.move();
  return {
    guest: debian,
    binary,
    image,
    scratch: directory.files,
    pairs: (usual) => pairs ?? usual,
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** The image and its passphrase in the guest, and the key that opening it leaves. */
export function locked({ image }: Subject): { readonly contents: Contents; readonly key: string } {
  const [file = ""] = image.members;
  return {
    contents: { "root.img": { file }, passphrase: { text: `${image.passphrase}\n` } },
    key: `bcachefs:${image.uuid}`,
  };
}
