import { existsSync } from "node:fs";
import { type Socket, type Subprocess, spawn } from "bun";

const TANGD = ["/usr/libexec/tangd", "/usr/lib/tangd"].find((path) => existsSync(path));

export const hasTangd = TANGD !== undefined;

export interface TangServer extends Disposable {
  readonly port: number;
  /** Connections taken so far. */
  readonly connections: number;
}

/** A real tangd for each connection, as systemd's tangd.socket starts it: HTTP on its standard input and output. */
export function startTangd(keys: string, port = 0): TangServer {
  if (TANGD === undefined) throw new Error("tangd is not installed");
  const children = new Map<Socket, Subprocess<"pipe", "pipe", "ignore">>();
  let connections = 0;
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port,
    socket: {
      open(socket) {
        connections += 1;
        const child = spawn([TANGD, keys], { stdin: "pipe", stdout: "pipe", stderr: "ignore" });
        children.set(socket, child);
        void (async () => {
          for await (const chunk of child.stdout) socket.write(chunk);
          socket.end();
        })();
      },
      async data(socket, chunk) {
        const child = children.get(socket);
        child?.stdin.write(chunk);
        await child?.stdin.flush();
      },
      close(socket) {
        children.get(socket)?.kill();
        children.delete(socket);
      },
    },
  });
  return {
    port: listener.port,
    get connections() {
      return connections;
    },
    [Symbol.dispose]: () => {
      listener.stop(true);
      for (const child of children.values()) child.kill();
    },
  };
}
