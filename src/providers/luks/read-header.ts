import type { BlockReader } from "../../system/block-devices.ts";
import { LatchkeyError } from "../../system/errors.ts";
import { damagedHeader, type LuksHeader } from "./header.ts";
import { parseLuks1 } from "./luks1-header.ts";
import { findLuks2Copies } from "./luks2-binary.ts";
import { luksVersion } from "./luks2-header.ts";
import { parseLuks2Json } from "./luks2-json.ts";

/**
 * Reads the header of a device or header file.
 * @returns undefined where there is no sign of LUKS
 * @throws LatchkeyError luks/header-damaged with the device, device/unreadable
 */
export async function readLuksHeader(reader: BlockReader): Promise<LuksHeader | undefined> {
  try {
    const version = await luksVersion(reader);
    if (version === 1) return await parseLuks1(reader);
    if (version !== undefined && version !== 2) {
      throw damagedHeader(`its LUKS header has version ${version}, and latchkey knows 1 and 2`);
    }
    const found = await findLuks2Copies(reader, version === 2);
    if (found === undefined) return undefined;
    return { version: 2, ...found.binary, ...parseLuks2Json(found.json), copies: found.copies, notes: found.notes };
  } catch (thrown) {
    if (!(thrown instanceof LatchkeyError) || thrown.code !== "luks/header-damaged") throw thrown;
    throw new LatchkeyError(thrown.code, `${reader.path}: ${thrown.message}`, {
      hint: "a backup made by `cryptsetup luksHeaderBackup` can be put back with `cryptsetup luksHeaderRestore`",
    });
  }
}
