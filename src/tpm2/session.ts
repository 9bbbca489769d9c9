import { LatchkeyError } from "../system/errors.ts";
import type { SecretBytes } from "../system/secret-bytes.ts";
import { ALG, digest, type NameHash } from "./algorithms.ts";
import { cfbDecrypt, cfbEncrypt } from "./cfb.ts";
import type { Authorization, TpmChannel } from "./channel.ts";
import { answerReader, commands, type TpmAnswer, type TpmCommand } from "./commands.ts";
import { kdfA } from "./kdf.ts";
import type { PrimaryKey } from "./primary.ts";
import type { EphemeralKeyPair } from "./randomness.ts";
import { makeSalt } from "./salt.ts";
import type { TpmTurn } from "./tpm.ts";
import { concat, sized, u16, u32 } from "./wire.ts";

/** TPM_SE, TPM 2.0 Part 2 section 6.11. */
const SESSION_TYPE = { hmac: 0x00, policy: 0x01 } as const;

/** TPMA_SESSION, Part 2 section 8.4. continueSession stays clear: a session serves one command and is gone. */
const ATTRIBUTE = { encryptsCommand: 0x20, encryptsResponse: 0x40 } as const;

/** AES-128-CFB, which every PC TPM has (PC Client Platform TPM Profile). */
const SYMMETRIC = concat(u16(ALG.aes), u16(128), u16(ALG.cfb));
const KEY_BYTES = 16;
const IV_BYTES = 16;

/**
 * A salted session for one command on an object with an empty password. Its key follows from a salt that crosses the bus
 * encrypted to the primary key, so that who listens there learns neither the secret sent to the TPM nor the one it returns,
 * and an answer altered on the way is refused. There is no way without encryption: a TPM that cannot do AES-128-CFB could
 * not have made the primary either, and a fallback is what an attacker on the bus would ask for.
 */
export class TpmSession implements Authorization, AsyncDisposable {
  readonly handle: number;
  readonly #channel: TpmChannel;
  readonly #hash: NameHash;
  readonly #key: SecretBytes;
  readonly #attributes: number;
  /** Of the TPM: the one before and, after an answer, the newest. */
  #nonceTpm: Uint8Array;
  readonly #nonceCaller: Uint8Array;
  #verified = false;

  private constructor(
    channel: TpmChannel,
    handle: number,
    hash: NameHash,
    key: SecretBytes,
    attributes: number,
    nonces: { readonly tpm: Uint8Array; readonly caller: Uint8Array },
  ) {
    this.#channel = channel;
    this.handle = handle;
    this.#hash = hash;
    this.#key = key;
    this.#attributes = attributes;
    this.#nonceTpm = nonces.tpm;
    this.#nonceCaller = nonces.caller;
  }

  /**
   * Starts a session (Part 3 section 11.1), with the key of Part 1 section 19.6.8.
   * @param type `policy` for an object that opens by its policy, `hmac` for one that opens by its password
   * @param hash of a policy session the object's name algorithm, or its policy digest comes out different
   * @param encrypts which way the secret goes
   * @param keyPair for the salt, see makeSalt
   */
  static async start(
    { channel, random, signal }: TpmTurn,
    primary: PrimaryKey,
    type: keyof typeof SESSION_TYPE,
    hash: NameHash,
    encrypts: keyof typeof ATTRIBUTE,
    keyPair?: Promise<EphemeralKeyPair>,
  ): Promise<TpmSession> {
    using salt = await makeSalt(primary, random, keyPair);
    const first = new Uint8Array(hash.size);
    random.fill(first);
    const command = commands.startAuthSession(primary, first, salt.encrypted, SESSION_TYPE[type], SYMMETRIC, hash.id);
    const answer = await channel.execute(command, signal);
    const reader = answerReader(command.name, answer.parameters);
    const nonceTpm = reader.sized().slice();
    reader.end();
    const key = kdfA(hash, salt.secret.bytes, "ATH", nonceTpm, first, hash.size * 8);
    const caller = new Uint8Array(hash.size);
    random.fill(caller); // fresh for the one command to come
    return new TpmSession(channel, answer.handle, hash, key, ATTRIBUTE[encrypts], { tpm: nonceTpm, caller });
  }

  /**
   * TPMS_AUTH_COMMAND with the HMAC of Part 1 section 19.6. The object's password is empty, so the key is the session's
   * alone, in an HMAC session as in a policy session.
   */
  authorize(command: TpmCommand): Uint8Array {
    const names: Uint8Array[] = [];
    for (const { name } of command.handles) names.push(name);
    const cpHash = digest(this.#hash, u32(command.code), ...names, command.parameters);
    const hmac = this.#hmac(cpHash, this.#nonceCaller, this.#nonceTpm, this.#attributes);
    return concat(u32(this.handle), sized(this.#nonceCaller), Uint8Array.of(this.#attributes), sized(hmac));
  }

  /** Checks the HMAC over the answer, Part 1 section 19.6. @throws LatchkeyError tpm2/forged-answer, tpm2/bad-answer */
  verify(command: TpmCommand, answer: TpmAnswer): void {
    const reader = answerReader(command.name, answer.authorizations);
    const nonceTpm = reader.sized().slice();
    const attributes = reader.u8();
    const given = reader.sized();
    reader.end();
    const rpHash = digest(this.#hash, u32(0), u32(command.code), answer.parameters);
    const expected = this.#hmac(rpHash, nonceTpm, this.#nonceCaller, attributes);
    if (
      given.length !== expected.length ||
      !crypto.timingSafeEqual(given, expected) ||
      attributes !== this.#attributes
    ) {
      throw new LatchkeyError("tpm2/forged-answer", `the TPM's answer to ${command.name} was altered on its way here`, {
        hint: "somebody may be tampering with the machine's TPM bus",
      });
    }
    this.#nonceTpm = nonceTpm;
    this.#verified = true;
    this.#channel.forget(this.handle); // it ended with the command
  }

  /** Encrypts a command's first parameter (its octets without the length), Part 1 section 21. */
  encrypt(plain: SecretBytes): Uint8Array {
    using key = this.#cipherKey(this.#nonceCaller, this.#nonceTpm);
    return cfbEncrypt(key.bytes.subarray(0, KEY_BYTES), key.bytes.subarray(KEY_BYTES), plain);
  }

  /** Decrypts the first parameter of the verified answer. The caller ends its scope. */
  decrypt(ciphertext: Uint8Array): SecretBytes {
    if (!this.#verified) throw new LatchkeyError("internal/defect", "an answer was used before it was verified");
    using key = this.#cipherKey(this.#nonceTpm, this.#nonceCaller);
    return cfbDecrypt(key.bytes.subarray(0, KEY_BYTES), key.bytes.subarray(KEY_BYTES), ciphertext);
  }

  /** Wipes the key; frees the session in the TPM unless it ended there by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#key[Symbol.dispose]();
    await this.#channel.flush(this.handle);
  }

  #hmac(parameterHash: Uint8Array, newer: Uint8Array, older: Uint8Array, attributes: number): Uint8Array {
    return new Bun.CryptoHasher(this.#hash.name, this.#key.bytes)
      .update(parameterHash)
      .update(newer)
      .update(older)
      .update(Uint8Array.of(attributes))
      .digest();
  }

  #cipherKey(newer: Uint8Array, older: Uint8Array): SecretBytes {
    return kdfA(this.#hash, this.#key.bytes, "CFB", newer, older, (KEY_BYTES + IV_BYTES) * 8);
  }
}
