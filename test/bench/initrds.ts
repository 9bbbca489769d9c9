import { buildInitrd } from "../vm/initrd.ts";
import { stockInitrd } from "../vm/stock.ts";
import type { Subject } from "./subject.ts";

export interface Initrds {
  /** What an owner without latchkey puts into the image: bcachefs-tools, and a hook as an overlay. */
  readonly stock: string;
  /** What latchkey's module makes where bcachefs-tools are installed. */
  readonly latchkey: string;
  /** And where they are not. */
  readonly latchkeyAlone: string;
}

const tools = ["/usr/sbin/bcachefs", "/usr/sbin/mount.bcachefs", "/usr/sbin/fsck.bcachefs"];

export async function buildInitrds({ guest, binary }: Subject): Promise<Initrds> {
  return {
    stock: await stockInitrd(guest, "usual"),
    latchkey: await buildInitrd(guest, { stack: "dracut", binary, compression: "usual" }),
    latchkeyAlone: await buildInitrd(guest, { stack: "dracut", binary, absent: tools, compression: "usual" }),
  };
}
