/** Takes a compose hash of one app off its list: keys already released stay with whoever has them. */
import { appListAction, composeHashes } from "../lib/allow-list.ts";

export default appListAction({ task: "app revoke-compose", list: composeHashes, allow: false });
