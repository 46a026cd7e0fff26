// Every sentence of the page in both languages. Classes the presets know are named in Chinese, others stay as they are.
const en = {
  title: "Facial expressions", model: "Model", ways: "Ways to show a face", photos: "Photos", webcam: "Webcam",
  about: "Model {name}: tells {labels} apart.",
  drop: "Drop pictures here, or paste them", choose: "Choose pictures", take: "Take a photo", example: "Try the example",
  snap: "Take it", cancel: "Cancel",
  here: "Your pictures stay on this machine; none is kept.",
  there: "Pictures are sent to {host}, which answers and keeps none.",
  answers: "Answers", clear: "Clear all", remove: "Remove {name}", again: "Try again",
  looking: "Looking …", one: "1 face", many: "{count} faces", said: "{name}: {words}",
  uncertain: "uncertain", perhaps: "uncertain, perhaps {label}",
  unknown: "none of these", most_like: "none of these, most like {label}", left: "on the left", middle: "in the middle", right: "on the right",
  mouth_outside: "mouth outside the picture", mouth_hidden: "mouth not to be seen",
  no_face: "No face found.",
  no_face_hint: "It helps when the face looks at the camera, is well lit and fills a fair part of the picture.",
  bad_image: "This cannot be read as a picture: it is damaged, no picture at all, or a HEIC that this server cannot read (fer-pipeline[heic]).",
  too_large: "This picture has more pixels than the {megapixels} million that are looked at. Save it smaller and try again.",
  too_heavy: "This file is larger than the {megabytes} MB that are taken. Save it smaller and try again.",
  empty: "This file is empty.", unreadable: "This cannot be read: is it a folder, or was it moved?",
  unshown: "Your browser cannot show this kind of picture. The answer holds all the same.",
  waiting: "The server is busy. Next try in {seconds} s.", busy: "The server has too much to do. Try again in a moment.",
  offline: "No answer. Is the server still running, and are you connected?",
  strange: "The server could not answer ({status}). {detail}",
  no_file: "There was no picture file in that. Save the picture first, then choose it.",
  start: "Start the camera", stop: "Stop", pause: "Pause", resume: "Go on", camera: "Camera", preview: "What the camera sees, mirrored",
  off: "The camera is off.", opening: "Asking for the camera …", connecting: "Connecting …", watching: "The camera is on.",
  paused: "Paused. The camera is still on.", hidden: "The camera went off because you left this page. Start it again when you like.",
  alone: "No face in view.", rates: "{rate} frames/s · {latency} ms from frame to answer",
  lost: "The connection was lost. Next try in {seconds} s.", given_up: "The connection stays lost, so the camera is off. Is the server still running?",
  refused_frames: "The server refused: {detail}",
  refused: "The camera was refused. Allow it beside the address of this page, then start again.",
  missing: "No camera found. Plug one in, then start again.",
  taken: "The camera does not start. Does another program use it?", unplugged: "The camera was unplugged or taken away.",
  insecure: "Browsers give the camera to this machine's own address or to https only. Open http://127.0.0.1 here, or ask for https.",
};

const zh = {
  title: "表情识别", model: "模型", ways: "提供人脸的方式", photos: "照片", webcam: "摄像头",
  about: "模型 {name}：可区分 {labels}。",
  drop: "把图片拖到这里，或直接粘贴", choose: "选择图片", take: "拍照", example: "试试示例",
  snap: "拍下", cancel: "取消",
  here: "图片只留在本机，不会被保存。", there: "图片会发送到 {host} 进行识别，不会被保存。",
  answers: "结果", clear: "全部清除", remove: "移除 {name}", again: "重试",
  looking: "正在识别……", one: "1 张人脸", many: "{count} 张人脸", said: "{name}：{words}",
  uncertain: "不确定", perhaps: "不确定，可能是{label}",
  unknown: "都不是", most_like: "都不是，最像{label}", left: "左侧", middle: "中间", right: "右侧",
  mouth_outside: "嘴在画面之外", mouth_hidden: "看不到嘴",
  no_face: "没有找到人脸。", no_face_hint: "请让脸正对镜头、光线充足，并在画面中占较大的部分。",
  bad_image: "无法作为图片读取：文件已损坏、不是图片，或是本服务器无法读取的 HEIC（fer-pipeline[heic]）。",
  too_large: "图片像素过多，最多接受 {megapixels} 百万像素。请缩小后再试。",
  too_heavy: "文件过大，最多接受 {megabytes} MB。请缩小后再试。",
  empty: "这是一个空文件。", unreadable: "无法读取：这是文件夹，还是文件已被移动？",
  unshown: "浏览器无法显示这种格式的图片，但识别结果仍然有效。",
  waiting: "服务器正忙，{seconds} 秒后重试。", busy: "服务器太忙，请稍后再试。",
  offline: "没有收到回复。服务器还在运行吗？网络是否已连接？", strange: "服务器无法回答（{status}）。{detail}",
  no_file: "其中没有图片文件。请先把图片保存下来，再选择它。",
  start: "打开摄像头", stop: "停止", pause: "暂停", resume: "继续", camera: "摄像头", preview: "摄像头画面（镜像）",
  off: "摄像头已关闭。", opening: "正在请求使用摄像头……", connecting: "正在连接……", watching: "摄像头已打开。",
  paused: "已暂停，摄像头仍然开着。", hidden: "您离开了本页，摄像头已关闭。需要时可重新打开。",
  alone: "画面中没有人脸。", rates: "每秒 {rate} 帧 · 从画面到结果 {latency} 毫秒",
  lost: "连接中断，{seconds} 秒后重试。", given_up: "连接一直没有恢复，摄像头已关闭。服务器还在运行吗？",
  refused_frames: "服务器拒绝了请求：{detail}",
  refused: "摄像头未获允许。请在地址栏旁允许使用，然后重新打开。", missing: "没有找到摄像头。请接好后重新打开。",
  taken: "摄像头无法启动，是否正被其他程序使用？", unplugged: "摄像头已断开。",
  insecure: "浏览器只允许本机地址或 https 页面使用摄像头。请在本机打开 http://127.0.0.1，或改用 https。",
};

const classes = {
  pout: "嘟嘴", smile: "微笑", neutral: "平静", openmouth: "张嘴", open: "张开", closed: "闭合", happy: "高兴", sad: "悲伤",
  angry: "愤怒", anger: "愤怒", fear: "恐惧", disgust: "厌恶", surprise: "惊讶", contempt: "轻蔑", none: "无表情",
};
for (const [label, name] of Object.entries(classes)) zh[`class.${label}`] = name;

export const words = { en, zh };

// The name of a class as people read it.
export function nameOf(label, say) {
  const key = `class.${label}`;
  const name = say(key);
  return name === key ? label : name;
}
