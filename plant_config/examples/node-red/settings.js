// Node-RED's settings for this example: `node-red --userDir .` in a copy of this folder.
module.exports = {
    flowFile: "flow.json",
    // flow_cred.json holds no secrets, only the names of the variables that do; a password typed into the editor would be
    // written there as it is: set a secret of your own here first.
    credentialSecret: false,
    uiHost: "127.0.0.1", // the editor and the little web service; put a proxy with a login before it
    uiPort: Number(process.env.PORT || 1880),
    disableEditor: process.env.EDITOR_OFF === "1",
    // The open orders are kept on disk. What a crash takes (5 s at most) comes again: orders are retained at the broker.
    contextStorage: { default: { module: "localfilesystem", config: { cache: true, flushInterval: 5 } } },
    logging: { console: { level: "info", metrics: false, audit: false } },
};
